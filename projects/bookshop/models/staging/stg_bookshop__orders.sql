with source as (
    select * from {{ source('raw_bookshop', 'orders') }}
)

select
    id as order_id,
    customer_id,
    status as order_status,
    ordered_at,
    cast(ordered_at as date) as ordered_on,
    updated_at
from source
