with customers as (
    select
        customer_id,
        cast(date_trunc('month', first_ordered_at) as date) as cohort_month
    from {{ ref('dim_customers') }}
    where first_ordered_at is not null
),

orders as (
    select * from {{ ref('fct_orders') }}
)

select
    {{ shop_tools.surrogate_key(['customers.cohort_month', "datediff(month, customers.cohort_month, orders.ordered_on)"]) }}
        as cohort_key,
    customers.cohort_month,
    datediff(month, customers.cohort_month, orders.ordered_on) as months_since_first_order,
    count(distinct orders.customer_id) as active_customers,
    sum(orders.net_amount) as net_revenue
from customers
inner join orders on customers.customer_id = orders.customer_id
where orders.order_status <> 'cancelled'
group by
    customers.cohort_month,
    datediff(month, customers.cohort_month, orders.ordered_on)
