with sales as (
    select
        book_id,
        sum(quantity) as copies_sold,
        sum(net_amount) as net_revenue
    from {{ ref('fct_order_items') }}
    where
        order_status not in ('cancelled', 'returned')
        and ordered_on >= dateadd(day, -90, cast(getdate() as date))
    group by book_id
),

ranked as (
    select
        books.book_id,
        books.title,
        books.author_name,
        books.category_name,
        sales.copies_sold,
        sales.net_revenue,
        row_number() over (
            partition by books.category_name
            order by sales.copies_sold desc, sales.net_revenue desc, books.book_id asc
        ) as rank_in_category
    from sales
    inner join {{ ref('dim_books') }} as books on sales.book_id = books.book_id
)

select * from ranked
where rank_in_category <= 10
