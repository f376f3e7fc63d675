-- Nobody has paid more than their order costs; each item is rounded to a cent.
select
    order_id,
    paid_amount,
    gross_amount
from {{ ref('fct_orders') }}
where paid_amount > gross_amount + 0.01 * item_count
