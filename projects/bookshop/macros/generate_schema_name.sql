{#
    Where a node is built. The environment variable DBT_ENVIRONMENT names the environment and has to equal the profile's target;
    everything else stops at once, so nothing is ever built "somewhere".

    - sandbox: an analyst's own schema, for every node: dbt_<DBT_SANDBOX_USER>, which `make dbt` gives, or
      <schema>_sandbox_<DBT_SANDBOX_USER>
    - any other environment is a deployed one: <schema>, or <schema>_<custom schema>

    A new environment needs no change here: the profile that has its target is the list.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set environment = checked_environment() -%}
    {%- if environment == "sandbox" -%}
        {%- set user = checked_sandbox_user() -%}
        {%- if target.schema == "dbt_" ~ user -%}
            {{- target.schema -}}
        {%- else -%}
            {{- target.schema }}_sandbox_{{ user -}}
        {%- endif -%}
    {%- elif custom_schema_name is none -%}
        {{- target.schema -}}
    {%- else -%}
        {{- target.schema }}_{{ custom_schema_name | trim -}}
    {%- endif -%}
{%- endmacro %}


{% macro checked_environment() -%}
    {%- set environment = env_var("DBT_ENVIRONMENT", "") -%}
    {%- if environment == "" -%}
        {{- exceptions.raise_compiler_error(
            "DBT_ENVIRONMENT is not set; set it to the name of the profile's target to build there: '" ~ target.name ~ "'"
        ) -}}
    {%- endif -%}
    {%- if environment != target.name -%}
        {{- exceptions.raise_compiler_error(
            "DBT_ENVIRONMENT is '" ~ environment ~ "' but the profile's target is '" ~ target.name ~ "'; they must be equal"
        ) -}}
    {%- endif -%}
    {{- return(environment) -}}
{%- endmacro %}


{% macro checked_sandbox_user() -%}
    {%- set user = env_var("DBT_SANDBOX_USER", "") -%}
    {%- if not modules.re.fullmatch("[a-z0-9_]+", user) -%}
        {{- exceptions.raise_compiler_error(
            "DBT_SANDBOX_USER is '" ~ user ~ "'; in the sandbox it must name its user with lower-case letters, digits and underscores"
        ) -}}
    {%- endif -%}
    {{- return(user) -}}
{%- endmacro %}
