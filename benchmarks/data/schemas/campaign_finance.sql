-- Gifts to committees of candidates: days as MMDDYYYY text, keys of an office as text, a committee as the giver, numbers of
-- filings without a table.
-- key: cn(CAND_ID)
-- key: cm(CMTE_ID)
-- key: indiv(SUB_ID)
-- link: cm(CAND_ID) -> cn(CAND_ID)
-- link: indiv(CMTE_ID) -> cm(CMTE_ID)
-- link: indiv(OTHER_ID) -> cm(CMTE_ID)
-- time: indiv(try_strptime("TRANSACTION_DT", '%m%d%Y'))
-- also: cn(CAND_PCC) -> cm(CMTE_ID)
-- also: cn(make_timestamp(try_cast("CAND_ELECTION_YR" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
CREATE TABLE cn AS SELECT 'H' || pick(i, 10) || 'TX' || lpad(i::VARCHAR, 5, '0') AS CAND_ID, 'SMITH, JOHN ' || i AS CAND_NAME, ['DEM', 'REP', 'IND'][1 + pick(i || 'p', 3)] AS CAND_PTY_AFFILIATION, 2016 + 2 * pick(i || 'y', 3) AS CAND_ELECTION_YR,
    'C' || lpad((i % 400)::VARCHAR, 8, '0') AS CAND_PCC FROM range(500) r(i);
CREATE TABLE cm AS SELECT 'C' || lpad(i::VARCHAR, 8, '0') AS CMTE_ID, 'COMMITTEE ' || i AS CMTE_NM, CASE WHEN pick(i || 'c', 10) > 3 THEN 'H' || pick(pick(i, 500), 10) || 'TX' || lpad(pick(i, 500)::VARCHAR, 5, '0') END AS CAND_ID FROM range(400) r(i);
CREATE TABLE indiv AS SELECT 'C' || lpad(pick(i || 'm', 400)::VARCHAR, 8, '0') AS CMTE_ID, ['N', 'A', 'T'][1 + pick(i || 'a', 3)] AS AMNDT_IND, 201600000000000000 + i AS IMAGE_NUM, 'DOE, JANE ' || pick(i || 'n', 3000) AS NAME, '787' || pick(i || 'z', 99) AS ZIP_CODE,
    CASE WHEN pick(i || 'd', 100) > 0 THEN strftime(DATE '2015-01-01' + pick(i, 1400), '%m%d%Y') END AS TRANSACTION_DT, 10 * pick(i || 'x', 90) AS TRANSACTION_AMT,
    CASE WHEN pick(i || 'o', 20) = 0 THEN 'C' || lpad(pick(i || 'oc', 400)::VARCHAR, 8, '0') END AS OTHER_ID, 1000000 + i // 20 AS FILE_NUM, 4000000000000000000 + i AS SUB_ID FROM range(8000) r(i);
