-- Loans: keys are named SK_ID_.., whose tables have other names; a hundred columns of small integers.
-- key: application(SK_ID_CURR)
-- key: bureau(SK_ID_BUREAU)
-- key: previous_application(SK_ID_PREV)
-- key: bureau_balance(SK_ID_BUREAU, MONTHS_BALANCE)
-- link: bureau(SK_ID_CURR) -> application(SK_ID_CURR)
-- link: previous_application(SK_ID_CURR) -> application(SK_ID_CURR)
-- link: bureau_balance(SK_ID_BUREAU) -> bureau(SK_ID_BUREAU)
-- link: installments(SK_ID_PREV) -> previous_application(SK_ID_PREV)
-- link: installments(SK_ID_CURR) -> application(SK_ID_CURR)
CREATE TABLE application AS SELECT 100000 + i AS SK_ID_CURR, pick(i, 2) AS TARGET, pick(i || 'c', 4) AS CNT_CHILDREN, -7000 - pick(i || 'd', 18000) AS DAYS_BIRTH, 1 + pick(i || 'r', 3) AS REGION_RATING_CLIENT,
    pick(i || 'h', 24) AS HOUR_APPR_PROCESS_START FROM range(1, 2001) r(i);
CREATE TABLE bureau AS SELECT 100001 + pick(i, 2000) AS SK_ID_CURR, 5000000 + i AS SK_ID_BUREAU, -pick(i || 'd', 2900) AS DAYS_CREDIT, pick(i || 'p', 9) AS CNT_CREDIT_PROLONG FROM range(1, 5001) r(i);
CREATE TABLE bureau_balance AS SELECT 5000001 + b AS SK_ID_BUREAU, -m AS MONTHS_BALANCE, ['C', '0', 'X'][1 + pick(b || 'm' || m, 3)] AS STATUS FROM range(3000) a(b), range(6) c(m);
CREATE TABLE previous_application AS SELECT 1000000 + i AS SK_ID_PREV, 100001 + pick(i, 2000) AS SK_ID_CURR, pick(i || 'a', 90000) / 7 AS AMT_ANNUITY, 1 + pick(i || 'n', 60) AS CNT_PAYMENT FROM range(1, 4001) r(i);
CREATE TABLE installments AS SELECT p.SK_ID_PREV, p.SK_ID_CURR, pick(i || 'v', 3) AS NUM_INSTALMENT_VERSION, 1 + pick(i, 24) AS NUM_INSTALMENT_NUMBER, -pick(i || 'd', 2900) AS DAYS_INSTALMENT
    FROM range(9000) r(i) JOIN previous_application p ON p.SK_ID_PREV = 1000001 + pick(i || 'p', 4000);
