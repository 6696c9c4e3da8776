{{ config(materialized='ephemeral') }}
select * from {{ ref('orders') }} where ordered_at > '2026-02-01'
