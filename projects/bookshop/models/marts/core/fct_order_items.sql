{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='order_item_key',
        dist='order_id',
        sort='ordered_on',
    )
}}

with items as (
    select * from {{ ref('int_order_items_priced') }}
),

orders as (
    select * from {{ ref('stg_bookshop__orders') }}
)

select
    {{ shop_tools.surrogate_key(['items.order_id', 'items.order_item_id']) }} as order_item_key,
    items.order_item_id,
    items.order_id,
    items.book_id,
    items.author_id,
    items.category_code,
    orders.customer_id,
    orders.ordered_on,
    orders.order_status,
    items.quantity,
    items.gross_amount,
    items.net_amount
from items
inner join orders on items.order_id = orders.order_id
{% if is_incremental() %}
    where orders.ordered_on >= (select dateadd(day, -7, max(built.ordered_on)) from {{ this }} as built)
{% endif %}
