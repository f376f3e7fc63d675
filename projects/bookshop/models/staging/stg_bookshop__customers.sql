with source as (
    select * from {{ source('raw_bookshop', 'customers') }}
)

select
    id as customer_id,
    first_name,
    last_name,
    lower(trim(email)) as email,
    country_code,
    signed_up_at,
    updated_at
from source
