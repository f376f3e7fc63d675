with source as (
    select * from {{ source('raw_bookshop', 'order_items') }}
)

select
    id as order_item_id,
    order_id,
    book_id,
    quantity,
    {{ shop_tools.cents_to_euros('unit_price_cents') }} as unit_price,
    discount_percent
from source
