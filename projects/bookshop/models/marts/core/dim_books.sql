{{ config(dist='all', sort='book_id') }}

with books as (
    select * from {{ ref('stg_bookshop__books') }}
),

authors as (
    select * from {{ ref('stg_bookshop__authors') }}
),

categories as (
    select * from {{ ref('book_categories') }}
),

prices as (
    select
        id as book_id,
        count(*) - 1 as price_changes
    from {{ ref('book_prices') }}
    group by id
),

ratings as (
    select
        book_id,
        count(*) as review_count,
        avg(cast(rating as numeric(4, 2))) as average_rating
    from {{ ref('stg_bookshop__reviews') }}
    group by book_id
)

select
    books.book_id,
    books.isbn,
    books.title,
    authors.author_name,
    categories.category_name,
    books.list_price,
    books.published_on,
    prices.price_changes,
    coalesce(ratings.review_count, 0) as review_count,
    cast(ratings.average_rating as numeric(4, 2)) as average_rating
from books
inner join authors on books.author_id = authors.author_id
inner join categories on books.category_code = categories.category_code
inner join prices on books.book_id = prices.book_id
left join ratings on books.book_id = ratings.book_id
