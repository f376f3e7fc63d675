{{ config(dist='customer_id', sort='signed_up_at') }}

with customers as (
    select * from {{ ref('stg_bookshop__customers') }}
),

countries as (
    select * from {{ ref('countries') }}
),

orders as (
    select * from {{ ref('int_customer_orders') }}
)

select
    cast(customers.customer_id as integer) as customer_id,
    cast(customers.first_name || ' ' || customers.last_name as varchar(201)) as customer_name,
    cast(countries.country_name as varchar(100)) as country_name,
    cast(customers.signed_up_at as timestamp) as signed_up_at,
    cast(orders.first_ordered_at as timestamp) as first_ordered_at,
    cast(coalesce(orders.order_count, 0) as bigint) as order_count,
    cast(coalesce(orders.lifetime_value, 0) as numeric(18, 2)) as lifetime_value,
    cast(
        case
            when orders.customer_id is null then 'prospect'
            when orders.days_since_last_order > 60 then 'lapsed'
            when orders.order_count >= 5 then 'regular'
            else 'active'
        end as varchar(20)
    ) as segment
from customers
inner join countries on customers.country_code = countries.country_code
left join orders on customers.customer_id = orders.customer_id
