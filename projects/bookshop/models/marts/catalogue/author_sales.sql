with items as (
    select * from {{ ref('fct_order_items') }}
),

books as (
    select * from {{ ref('dim_books') }}
),

titles as (
    select
        author_name,
        count(*) as title_count,
        listagg(title, '; ') within group (order by title) as titles
    from books
    group by author_name
),

sales as (
    select
        books.author_name,
        sum(items.quantity) as copies_sold,
        sum(items.net_amount) as net_revenue
    from items
    inner join books on items.book_id = books.book_id
    where items.order_status <> 'cancelled'
    group by books.author_name
)

select
    titles.author_name,
    titles.title_count,
    titles.titles,
    coalesce(sales.copies_sold, 0) as copies_sold,
    coalesce(sales.net_revenue, 0) as net_revenue
from titles
left join sales on titles.author_name = sales.author_name
