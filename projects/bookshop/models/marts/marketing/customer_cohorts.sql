with orders as (
    select * from {{ ref('fct_orders') }}
    where order_status <> 'cancelled'
),

customers as (
    select
        customer_id,
        cast(date_trunc('month', min(ordered_on)) as date) as cohort_month
    from orders
    group by customer_id
),

cohort_orders as (
    select
        customers.cohort_month,
        orders.customer_id,
        orders.net_amount,
        datediff(month, customers.cohort_month, orders.ordered_on) as months_since_first_order
    from customers
    inner join orders on customers.customer_id = orders.customer_id
)

select
    {{ shop_tools.surrogate_key(['cohort_month', 'months_since_first_order']) }} as cohort_key,
    cohort_month,
    months_since_first_order,
    count(distinct customer_id) as active_customers,
    sum(net_amount) as net_revenue
from cohort_orders
group by cohort_month, months_since_first_order
