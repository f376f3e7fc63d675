{{ config(dist='all', sort='calendar_date') }}

with days as (
    {{ shop_tools.days_until_today(count=1100) }}
)

select
    calendar_date,
    cast(date_part(year, calendar_date) as integer) as calendar_year,
    cast(date_part(quarter, calendar_date) as integer) as calendar_quarter,
    cast(date_part(month, calendar_date) as integer) as calendar_month,
    cast(date_trunc('month', calendar_date) as date) as first_of_month,
    date_part(dow, calendar_date) in (0, 6) as is_weekend
from days
