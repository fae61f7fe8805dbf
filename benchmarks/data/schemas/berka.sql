-- The Czech bank of PKDD'99: the district's key is called A1, dates are YYMMDD numbers in the original and dates here.
-- key: district(A1)
-- key: account(account_id)
-- key: client(client_id)
-- key: disp(disp_id)
-- key: loan(loan_id)
-- key: card(card_id)
-- key: trans(trans_id)
-- link: account(district_id) -> district(A1)
-- link: client(district_id) -> district(A1)
-- link: disp(client_id) -> client(client_id)
-- link: disp(account_id) -> account(account_id)
-- link: loan(account_id) -> account(account_id)
-- link: card(disp_id) -> disp(disp_id)
-- link: trans(account_id) -> account(account_id)
-- time: account(date)
-- time: loan(date)
-- time: card(issued)
-- time: trans(date)
CREATE TABLE district AS SELECT i AS A1, 'Okres ' || i AS A2, 'region ' || (i % 8) AS A3, 20000 + pick(i, 90000) AS A4, 1 + pick(i || 'c', 9) AS A9, 8000 + pick(i || 's', 4000) AS A11 FROM range(1, 78) r(i);
CREATE TABLE account AS SELECT 1 + 3 * i AS account_id, 1 + pick(i, 77) AS district_id, ['monthly', 'weekly'][1 + pick(i || 'f', 2)] AS frequency, DATE '1993-01-01' + pick(i || 'd', 700) AS date FROM range(900) r(i);
CREATE TABLE client AS SELECT 1 + 2 * i AS client_id, 700101 + pick(i || 'b', 90000) AS birth_number, 1 + pick(i, 77) AS district_id FROM range(1000) r(i);
CREATE TABLE disp AS SELECT 1 + 5 * i AS disp_id, 1 + 2 * i AS client_id, 1 + 3 * (i % 900) AS account_id, CASE WHEN i < 900 THEN 'OWNER' ELSE 'DISPONENT' END AS type FROM range(1000) r(i);
CREATE TABLE loan AS SELECT 4959 + 3 * i AS loan_id, 1 + 3 * (4 * i) AS account_id, DATE '1995-01-01' + pick(i, 1200) AS date, 1000 * pick(i || 'a', 300) AS amount, 12 * (1 + pick(i || 'd', 5)) AS duration FROM range(220) r(i);
CREATE TABLE card AS SELECT 1 + 2 * i AS card_id, 1 + 5 * (4 * i) AS disp_id, ['classic', 'gold', 'junior'][1 + pick(i, 3)] AS type, DATE '1995-06-01' + pick(i || 'i', 1200) AS issued FROM range(240) r(i);
CREATE TABLE trans AS SELECT 1 + 4 * i AS trans_id, 1 + 3 * pick(i, 900) AS account_id, DATE '1995-01-01' + pick(i || 'd', 1400) AS date, pick(i || 'a', 9000) AS amount, 1000 + pick(i || 'b', 90000) AS balance, 10000000 + pick(i || 'o', 90000000) AS account FROM range(9000) r(i);
