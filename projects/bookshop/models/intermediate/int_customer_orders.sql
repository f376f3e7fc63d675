select
    customer_id,
    min(ordered_at) as first_ordered_at,
    max(ordered_at) as last_ordered_at,
    count(*) as order_count,
    sum(paid_amount) as lifetime_value,
    datediff(day, max(ordered_at), getdate()) as days_since_last_order
from {{ ref('int_orders_with_totals') }}
where order_status <> 'cancelled'
group by customer_id
