{{ config(sort='calendar_date') }}

with dates as (
    select * from {{ ref('dim_dates') }}
),

orders as (
    select
        ordered_on,
        count(*) as order_count,
        sum(net_amount) as net_revenue,
        sum(refunded_amount) as refunded_amount
    from {{ ref('fct_orders') }}
    where order_status <> 'cancelled'
    group by ordered_on
)

select
    dates.calendar_date,
    dates.is_weekend,
    coalesce(orders.order_count, 0) as order_count,
    coalesce(orders.net_revenue, 0) as net_revenue,
    coalesce(orders.refunded_amount, 0) as refunded_amount,
    sum(coalesce(orders.net_revenue, 0)) over (
        partition by dates.first_of_month
        order by dates.calendar_date
        rows between unbounded preceding and current row
    ) as net_revenue_month_to_date
from dates
left join orders on dates.calendar_date = orders.ordered_on
