with orders as (
    select * from {{ ref('stg_bookshop__orders') }}
),

items as (
    select
        order_id,
        count(*) as item_count,
        sum(quantity) as book_count,
        sum(gross_amount) as gross_amount,
        sum(net_amount) as net_amount
    from {{ ref('int_order_items_priced') }}
    group by order_id
),

payments as (
    select * from {{ ref('int_payments_by_order') }}
)

select
    orders.order_id,
    orders.customer_id,
    orders.order_status,
    orders.ordered_at,
    orders.ordered_on,
    orders.updated_at,
    coalesce(items.item_count, 0) as item_count,
    coalesce(items.book_count, 0) as book_count,
    coalesce(items.gross_amount, 0) as gross_amount,
    coalesce(items.net_amount, 0) as net_amount,
    coalesce(payments.paid_amount, 0) as paid_amount,
    coalesce(payments.refunded_amount, 0) as refunded_amount,
    payments.last_paid_at
from orders
left join items on orders.order_id = items.order_id
left join payments on orders.order_id = payments.order_id
