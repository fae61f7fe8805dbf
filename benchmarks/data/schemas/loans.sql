-- Loans by month, with the month of the first credit years before, and of the last payment after; regions as a code that is
-- cut; payments with the number of a loan.
-- key: loans(id)
-- key: collections(collection_id)
-- link: collections(loan_id) -> loans(id)
-- time: loans(make_timestamp(CAST(regexp_extract("issue_d", '(19|20)[0-9]{2}') AS BIGINT), 1, 1, 0, 0, 0.0) + to_months(CASE lower(regexp_extract("issue_d", '[A-Za-z]{3}')) WHEN 'jan' THEN 1 WHEN 'feb' THEN 2 WHEN 'mar' THEN 3 WHEN 'apr' THEN 4 WHEN 'may' THEN 5 WHEN 'jun' THEN 6 WHEN 'jul' THEN 7 WHEN 'aug' THEN 8 WHEN 'sep' THEN 9 WHEN 'oct' THEN 10 WHEN 'nov' THEN 11 WHEN 'dec' THEN 12 END))
-- time: collections(try_strptime(printf('%04d-%02d-%02d', try_cast("called_year" AS BIGINT), coalesce(try_cast("called_month" AS BIGINT), month(try_strptime(left(trim("called_month"), 3), '%b'))), try_cast("called_day" AS BIGINT)), '%Y-%m-%d'))
CREATE TABLE loans AS SELECT 1077000 + 13 * i AS id, NULL::VARCHAR AS member_id, 1000 * (1 + pick(i || 'a', 35)) AS loan_amnt, ' ' || [36, 60][1 + pick(i || 't', 2)] || ' months' AS term, strftime(DATE '1985-01-01' + to_months(pick(i || 'e', 200)), '%b-%Y') AS earliest_cr_line,
    strftime(DATE '2010-01-01' + to_months(pick(i, 96)), '%b-%Y') AS issue_d, ['Fully Paid', 'Charged Off', 'Current'][1 + pick(i || 's', 3)] AS loan_status, (100 + pick(i || 'z', 800)) || 'xx' AS zip_code,
    CASE WHEN pick(i || 'n', 99) > 0 THEN strftime(DATE '2010-01-01' + to_months(pick(i, 96) + 1 + pick(i || 'l', 30)), '%b-%Y') END AS last_pymnt_d FROM range(4000) r(i);
CREATE TABLE collections AS SELECT 500 + i AS collection_id, 1077000 + 13 * pick(i, 4000) AS loan_id, year(d) AS called_year, monthname(d) AS called_month, day(d) AS called_day, pick(i || 'm', 900) AS amount
    FROM (SELECT i, DATE '2010-01-01' + pick(pick(i, 4000), 96) * 30 + 40 + pick(i || 'd', 400) AS d FROM range(3000) r(i));
