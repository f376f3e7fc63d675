with source as (
    select * from {{ source('raw_bookshop', 'reviews') }}
)

select
    id as review_id,
    book_id,
    customer_id,
    rating,
    coalesce(body, '') as review_text,
    written_at
from source
