select * from {{ ref('risk_now') }} where risk is null or risk not between 0 and 1
