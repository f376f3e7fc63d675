{# An amount in euros from a whole number of cents. #}
{% macro cents_to_euros(column) -%}
    ({{ column }} / 100.0)::numeric(18, 2)
{%- endmacro %}
