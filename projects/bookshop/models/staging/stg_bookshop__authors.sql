with source as (
    select * from {{ source('raw_bookshop', 'authors') }}
)

select
    id as author_id,
    name as author_name,
    country_code,
    born_on
from source
