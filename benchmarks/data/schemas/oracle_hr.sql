-- Oracle's HR: managers are employees, countries have codes of two letters, a job's history has a key of two columns.
-- key: regions(region_id)
-- key: countries(country_id)
-- key: locations(location_id)
-- key: departments(department_id)
-- key: jobs(job_id)
-- key: employees(employee_id)
-- also: job_history(employee_id, start_date)
-- link: countries(region_id) -> regions(region_id)
-- link: locations(country_id) -> countries(country_id)
-- link: departments(location_id) -> locations(location_id)
-- link: departments(manager_id) -> employees(employee_id)
-- link: employees(manager_id) -> employees(employee_id)
-- link: employees(department_id) -> departments(department_id)
-- link: employees(job_id) -> jobs(job_id)
-- link: job_history(employee_id) -> employees(employee_id)
-- link: job_history(job_id) -> jobs(job_id)
-- link: job_history(department_id) -> departments(department_id)
-- time: employees(hire_date)
-- time: job_history(start_date)
CREATE TABLE regions AS SELECT i AS region_id, 'Region ' || i AS region_name FROM range(1, 5) r(i);
CREATE TABLE countries AS SELECT letter(65 + i // 5) || letter(70 + i % 5) AS country_id, 'Country ' || i AS country_name, 1 + pick(i, 4) AS region_id FROM range(25) r(i);
CREATE TABLE locations AS SELECT 1000 + 100 * i AS location_id, 'City ' || i AS city, letter(65 + pick(i, 5)) || letter(70 + pick(i || 'c', 5)) AS country_id FROM range(23) r(i);
CREATE TABLE departments AS SELECT 10 + 10 * i AS department_id, 'Unit ' || i AS department_name, 100 + 3 * i AS manager_id, 1000 + 100 * pick(i, 23) AS location_id FROM range(27) r(i);
CREATE TABLE jobs AS SELECT ['AD', 'FI', 'IT', 'SA', 'ST'][1 + i % 5] || '_CLERK' || i AS job_id, 'Job ' || i AS job_title, 2000 + pick(i, 9000) AS min_salary FROM range(25) r(i);
CREATE TABLE employees AS SELECT 100 + i AS employee_id, 'First ' || pick(i, 200) AS first_name, DATE '2007-06-01' + pick(i || 'h', 180) AS hire_date, ['AD', 'FI', 'IT', 'SA', 'ST'][1 + j % 5] || '_CLERK' || j AS job_id,
    CASE WHEN i > 0 THEN 100 + 2 * pick(i || 'm', least((i + 1) // 2, 40)) END AS manager_id, 10 + 10 * pick(i || 'd', 27) AS department_id, 2000 + pick(i || 's', 9000) AS salary FROM (SELECT i, pick(i || 'j', 25) AS j FROM range(400) r(i));
CREATE TABLE job_history AS SELECT 100 + i % 90 AS employee_id, DATE '2007-12-01' + (400 * (i // 90) + pick(i, 300))::INTEGER AS start_date, DATE '2008-10-01' + (400 * (i // 90) + pick(i, 100))::INTEGER AS end_date, ['AD', 'FI', 'IT', 'SA', 'ST'][1 + j % 5] || '_CLERK' || j AS job_id,
    10 + 10 * pick(i || 'd', 27) AS department_id FROM (SELECT i, pick(i || 'j', 25) AS j FROM range(420) r(i));
