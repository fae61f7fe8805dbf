select c.customer_id, predict_churn(c.customer_id) as risk, m.version
from {{ ref('customers') }} c, {{ ref('churn_model') }} m
