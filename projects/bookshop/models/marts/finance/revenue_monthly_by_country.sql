with orders as (
    select * from {{ ref('fct_orders') }}
),

customers as (
    select * from {{ ref('dim_customers') }}
)

select
    cast(date_trunc('month', orders.ordered_on) as date) as first_of_month,
    customers.country_name,
    count(*) as order_count,
    count(distinct orders.customer_id) as customer_count,
    sum(orders.net_amount) as net_revenue
from orders
inner join customers on orders.customer_id = customers.customer_id
where orders.order_status not in ('cancelled', 'returned')
group by
    cast(date_trunc('month', orders.ordered_on) as date),
    customers.country_name
