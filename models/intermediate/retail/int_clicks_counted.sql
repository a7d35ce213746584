{{ config(materialized='view') }}

with

clicks as (
    select * from {{ ref('int_clicks') }}
),

-- Of two contents of one click, chosen by content, so that the order of arrival does not show.
counted as (
    select *
    from clicks
    qualify row_number() over (partition by click_id order by clicked_at, payload_sha256) = 1
)

select * from counted
