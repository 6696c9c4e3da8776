select order_id, amount > 50 as "class", amount as "order Amount", ordered_at from {{ ref('orders') }}
