{{ config(materialized='view') }}
select id, country, email, updated_at as "Updated At" from {{ ref('raw_customers') }}
