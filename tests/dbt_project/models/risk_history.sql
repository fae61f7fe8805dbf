{{ config(materialized='incremental') }}
-- depends_on: {{ ref('churn_model') }}
select customer_id, as_of, score, version from predict_churn_batch()
{% if is_incremental() %}
where as_of > (select max(as_of) from {{ this }})
{% endif %}
