{{ config(materialized='ephemeral') }}

select
    order_id,
    sum(case when payment_status = 'paid' then amount else 0 end) as paid_amount,
    sum(case when payment_status = 'refunded' then amount else 0 end) as refunded_amount,
    max(paid_at) as last_paid_at
from {{ ref('stg_bookshop__payments') }}
group by order_id
