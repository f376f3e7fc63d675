with source as (
    select * from {{ source('raw_bookshop', 'payments') }}
)

select
    id as payment_id,
    order_id,
    method as payment_method,
    status as payment_status,
    {{ shop_tools.cents_to_euros('amount_cents') }} as amount,
    paid_at
from source
