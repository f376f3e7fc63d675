with source as (
    select * from {{ source('raw_bookshop', 'books') }}
)

select
    id as book_id,
    isbn,
    title,
    author_id,
    category_code,
    {{ shop_tools.cents_to_euros('list_price_cents') }} as list_price,
    published_on,
    updated_at
from source
