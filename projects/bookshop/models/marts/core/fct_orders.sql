{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='order_id',
        dist='customer_id',
        sort=['ordered_at', 'order_id'],
    )
}}

select
    order_id,
    customer_id,
    order_status,
    ordered_at,
    ordered_on,
    updated_at,
    item_count,
    book_count,
    gross_amount,
    net_amount,
    paid_amount,
    refunded_amount,
    datediff(minute, ordered_at, last_paid_at) as minutes_until_paid,
    getdate() as built_at
from {{ ref('int_orders_with_totals') }}
{% if is_incremental() %}
    -- Three hours back: the shop system may deliver an older change late.
    where updated_at > (select dateadd(hour, -3, max(built.updated_at)) from {{ this }} as built)
{% endif %}
