-- Columns that abbreviate their parents, and columns that look like such abbreviations: dep is a deposit, pin a number.
-- key: patients(id)
-- key: doctors(id)
-- key: departments(id)
-- key: admissions(id)
-- link: admissions(pat_id) -> patients(id)
-- link: admissions(doc_id) -> doctors(id)
-- link: doctors(dept_id) -> departments(id)
-- link: prescriptions(adm_id) -> admissions(id)
-- link: prescriptions(pid) -> patients(id)
-- time: admissions(admitted_at)
-- time: prescriptions(prescribed_at)
CREATE TABLE patients AS SELECT 1000 + 3 * i AS id, ['f', 'm'][1 + pick(i, 2)] AS sex, DATE '1940-01-01' + pick(i || 'b', 25000) AS birth_date, 1000 + pick(i || 'p', 9000) AS pin FROM range(600) r(i);
CREATE TABLE departments AS SELECT 10 * i AS id, 'Department ' || i AS name FROM range(1, 25) r(i);
CREATE TABLE doctors AS SELECT 500 + 11 * i AS id, 10 * (1 + pick(i, 24)) AS dept_id, 1 + pick(i || 'g', 5) AS grade FROM range(90) r(i);
CREATE TABLE admissions AS SELECT 70000 + 13 * i AS id, 1000 + 3 * pick(i, 600) AS pat_id, 500 + 11 * pick(i || 'd', 90) AS doc_id, TIMESTAMP '2021-01-01' + INTERVAL (5 * i) HOUR AS admitted_at,
    pick(i || 'e', 300) AS dep, 1 + pick(i || 'w', 9) AS ward_no, 1 + pick(i || 'a', 40) AS adv FROM range(2400) r(i);
CREATE TABLE prescriptions AS SELECT 70000 + 13 * (i * 2 // 5) AS adm_id, 1000 + 3 * pick(i || 'x', 600) AS pid, TIMESTAMP '2021-01-01' + INTERVAL (5 * (i * 2 // 5) + 1 + pick(i || 'h', 40)) HOUR AS prescribed_at, 1 + pick(i || 'q', 30) AS dose FROM range(6000) r(i);
