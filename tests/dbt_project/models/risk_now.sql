{{ config(materialized='view') }}
-- depends_on: {{ ref('churn_model') }}
select customer_id, predict_churn(customer_id) as risk from {{ ref('customers') }}
