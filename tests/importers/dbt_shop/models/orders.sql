select order_id, customer as customer_id, amount, status, status = 'paid' as is_paid, ordered_at
from {{ ref('raw_orders') }}
