{#
    One row for each of the last `count` days, today included, in the column `calendar_date`.
    generate_series() runs on Redshift's leader node only and cannot fill a table, so the numbers come from digits.
#}
{% macro days_until_today(count) -%}
    with digits as (
        select 0 as digit
        {% for digit in range(1, 10) %}
            union all
            select {{ digit }} as digit
        {% endfor %}
    ),

    numbers as (
        select thousands.digit * 1000 + hundreds.digit * 100 + tens.digit * 10 + ones.digit as number
        from digits as ones
        cross join digits as tens
        cross join digits as hundreds
        cross join digits as thousands
    )

    select cast(dateadd(day, -number, getdate()) as date) as calendar_date
    from numbers
    where number < {{ count }}
{%- endmacro %}
