-- The raw tables of the sample project bookshop, as its shop system would load them.
-- The same rows every time, with timestamps that end a few minutes ago so that the sources are fresh.
-- Tables are emptied and filled rather than dropped: views of dbt read them.

create schema if not exists raw_bookshop;

create table if not exists raw_bookshop.authors (
    id integer primary key,
    name varchar(200) not null,
    country_code varchar(2) not null,
    born_on date,
    loaded_at timestamp not null
);
create table if not exists raw_bookshop.books (
    id integer primary key,
    isbn varchar(13) not null,
    title varchar(300) not null,
    author_id integer not null,
    category_code varchar(20) not null,
    list_price_cents integer not null,
    published_on date not null,
    updated_at timestamp not null,
    loaded_at timestamp not null
);
create table if not exists raw_bookshop.customers (
    id integer primary key,
    first_name varchar(100) not null,
    last_name varchar(100) not null,
    email varchar(200),
    country_code varchar(2) not null,
    signed_up_at timestamp not null,
    updated_at timestamp not null,
    loaded_at timestamp not null
);
create table if not exists raw_bookshop.orders (
    id integer primary key,
    customer_id integer not null,
    status varchar(20) not null,
    ordered_at timestamp not null,
    updated_at timestamp not null,
    loaded_at timestamp not null
);
create table if not exists raw_bookshop.order_items (
    id integer primary key,
    order_id integer not null,
    book_id integer not null,
    quantity integer not null,
    unit_price_cents integer not null,
    discount_percent integer not null,
    loaded_at timestamp not null
);
create table if not exists raw_bookshop.payments (
    id integer primary key,
    order_id integer not null,
    method varchar(20) not null,
    status varchar(20) not null,
    amount_cents integer not null,
    paid_at timestamp not null,
    loaded_at timestamp not null
);
create table if not exists raw_bookshop.reviews (
    id integer primary key,
    book_id integer not null,
    customer_id integer not null,
    rating integer not null,
    body varchar(2000),
    written_at timestamp not null,
    loaded_at timestamp not null
);

truncate
    raw_bookshop.authors, raw_bookshop.books, raw_bookshop.customers, raw_bookshop.orders,
    raw_bookshop.order_items, raw_bookshop.payments, raw_bookshop.reviews;

insert into raw_bookshop.authors
select
    n,
    (array['Ada', 'Bruno', 'Chloé', 'Dmitri', 'Elif', 'Farah', 'Günther', 'Hana', 'Íñigo', 'Jytte'])[1 + n % 10]
    || ' ' || (array['Okafor', 'Müller', 'Svensson', 'García', 'Rossi', 'O''Brien'])[1 + n / 10],
    (array['DE', 'FR', 'ES', 'IT', 'SE', 'IE', 'AT'])[1 + n % 7],
    date '1940-01-01' + n * 337,
    now() at time zone 'utc' - interval '10 minutes'
from generate_series(0, 59) as n;

insert into raw_bookshop.books
select
    n,
    '978' || lpad((n * 7919 % 10000000)::text, 10, '0'),
    (array['The Quiet', 'A Brief', 'My Last', 'Beyond the', 'Under a', 'Twelve Days of'])[1 + n % 6]
    || ' ' || (array['Harbour', 'Orchard', 'Winter', 'Machine', 'Letter', 'Garden', 'River'])[1 + n % 7]
    || ' ' || n,
    n * 13 % 60,
    (array['fiction', 'crime', 'science', 'history', 'children', 'poetry'])[1 + n * 5 % 6],
    699 + n * 131 % 3300,
    current_date - (30 + n * 29 % 6000),
    now() at time zone 'utc' - (n % 90) * interval '1 day' - interval '1 hour',
    now() at time zone 'utc' - interval '10 minutes'
from generate_series(1, 300) as n;

insert into raw_bookshop.customers
select
    n,
    (array['Anna', 'Ben', 'Carla', 'David', 'Emil', 'Fatma', 'Greta', 'Hugo', 'Ines', 'Jonas'])[1 + n % 10],
    (array['Schmidt', 'Dubois', 'Moreau', 'Conti', 'Lindqvist', 'Murphy', 'Huber', 'Weiß'])[1 + n % 8],
    case when n % 97 <> 0 then ' Customer' || n || '@Example.com' end,
    (array['DE', 'DE', 'DE', 'FR', 'ES', 'IT', 'SE', 'IE', 'AT'])[1 + n % 9],
    now() at time zone 'utc' - (20 + n * 17 % 700) * interval '1 day',
    now() at time zone 'utc' - (n % 20) * interval '1 day' - interval '2 hours',
    now() at time zone 'utc' - interval '10 minutes'
from generate_series(1, 800) as n;

-- Most orders are of the last weeks; the status follows from the age.
insert into raw_bookshop.orders
select
    n,
    1 + n * n % 800,
    case
        when n % 23 = 0 then 'cancelled'
        when n % 41 = 0 then 'returned'
        when age_hours < 24 then 'placed'
        when age_hours < 96 then 'shipped'
        else 'delivered'
    end,
    now() at time zone 'utc' - age_hours * interval '1 hour',
    now() at time zone 'utc' - age_hours * 0.8 * interval '1 hour',
    now() at time zone 'utc' - interval '5 minutes'
from (
    select n, (n * 7 % 97) * (n * 11 % 89) * 0.5 + 0.2 as age_hours
    from generate_series(1, 2000) as n
) as numbered;

insert into raw_bookshop.order_items
select
    orders.id * 10 + line,
    orders.id,
    books.id,
    1 + (orders.id + line) % 3,
    books.list_price_cents,
    case when (orders.id + line) % 8 = 0 then 15 else 0 end,
    now() at time zone 'utc' - interval '5 minutes'
from raw_bookshop.orders
cross join generate_series(1, 4) as line
inner join raw_bookshop.books on books.id = 1 + (orders.id * 31 + line * line * 47) % 300
where line <= 1 + orders.id % 4;

insert into raw_bookshop.payments
select
    row_number() over (order by orders.id),
    orders.id,
    (array['card', 'invoice', 'paypal', 'voucher'])[1 + orders.id % 4],
    case when orders.status = 'returned' then 'refunded' else 'paid' end,
    sum(round(items.quantity * items.unit_price_cents * (100 - items.discount_percent) / 100.0))::integer,
    orders.ordered_at + interval '90 seconds',
    now() at time zone 'utc' - interval '5 minutes'
from raw_bookshop.orders
inner join raw_bookshop.order_items as items on orders.id = items.order_id
where orders.status <> 'cancelled'
group by orders.id, orders.status, orders.ordered_at;

insert into raw_bookshop.reviews
select
    n,
    1 + n * 37 % 300,
    1 + n * 53 % 800,
    1 + (n * n + n / 7) % 5,
    case when n % 3 = 0 then 'It''s a book I would give to "anyone".' end,
    now() at time zone 'utc' - (n * 3 % 2000) * interval '1 hour',
    now() at time zone 'utc' - interval '30 minutes'
from generate_series(1, 900) as n;

analyze raw_bookshop.authors, raw_bookshop.books, raw_bookshop.customers, raw_bookshop.orders,
raw_bookshop.order_items, raw_bookshop.payments, raw_bookshop.reviews;

grant usage on schema raw_bookshop to dbt;
grant select on all tables in schema raw_bookshop to dbt;
