with items as (
    select * from {{ ref('stg_bookshop__order_items') }}
),

books as (
    select * from {{ ref('stg_bookshop__books') }}
),

categories as (
    select * from {{ ref('book_categories') }}
)

select
    items.order_item_id,
    items.order_id,
    items.book_id,
    books.author_id,
    books.category_code,
    items.quantity,
    items.unit_price,
    cast(
        items.quantity * items.unit_price * (100 - items.discount_percent) / 100.0 as numeric(18, 2)
    ) as gross_amount,
    cast(
        items.quantity * items.unit_price * (100 - items.discount_percent) / (100.0 + categories.vat_percent)
        as numeric(18, 2)
    ) as net_amount
from items
inner join books on items.book_id = books.book_id
inner join categories on books.category_code = categories.category_code
