-- Staff over time: departments have codes like d001, keys hold the date from which a row is valid.
-- key: employees(emp_no)
-- key: departments(dept_no)
-- key: dept_emp(emp_no, dept_no)
-- key: dept_manager(emp_no, dept_no)
-- key: salaries(emp_no, from_date)
-- key: titles(emp_no, from_date) or titles(emp_no, title, from_date)
-- link: dept_emp(emp_no) -> employees(emp_no)
-- link: dept_emp(dept_no) -> departments(dept_no)
-- link: dept_manager(emp_no) -> employees(emp_no)
-- link: dept_manager(dept_no) -> departments(dept_no)
-- link: salaries(emp_no) -> employees(emp_no)
-- link: titles(emp_no) -> employees(emp_no)
-- time: salaries(from_date)
-- time: titles(from_date)
-- time: dept_emp(from_date)
-- time: dept_manager(from_date)
-- also: employees(hire_date)
-- also: dept_manager(emp_no, dept_no) -> dept_emp(emp_no, dept_no)
-- also: titles(emp_no, from_date) -> salaries(emp_no, from_date)
-- also: salaries(emp_no, from_date) -> titles(emp_no, from_date)
CREATE TABLE employees AS SELECT 10000 + i AS emp_no, DATE '1955-01-01' + pick(i, 4000) AS birth_date, 'First' || pick(i, 200) AS first_name, ['M', 'F'][1 + pick(i, 2)] AS gender,
    DATE '1985-01-01' + pick(i || 'h', 4000) AS hire_date FROM range(1, 1001) r(i);
CREATE TABLE departments AS SELECT 'd00' || i AS dept_no, 'Department ' || i AS dept_name FROM range(1, 10) r(i);
CREATE TABLE dept_emp AS SELECT DISTINCT ON (emp_no, dept_no) e.emp_no, 'd00' || (1 + pick(e.emp_no || 'x' || n, 9)) AS dept_no, e.hire_date + (n * 900 + pick(e.emp_no, 60))::INTEGER AS from_date, DATE '9999-01-01' AS to_date
    FROM employees e, range(2) r(n) WHERE n = 0 OR pick(e.emp_no, 8) = 0;
CREATE TABLE dept_manager AS SELECT DISTINCT ON (emp_no, dept_no) emp_no, dept_no, from_date, to_date FROM dept_emp WHERE pick(emp_no, 40) = 0;
CREATE TABLE salaries AS SELECT e.emp_no, 40000 + pick(e.emp_no || 's' || n, 50000) AS salary, e.hire_date + (n * 365)::INTEGER AS from_date, e.hire_date + (n * 365 + 365)::INTEGER AS to_date FROM employees e, range(6) r(n);
CREATE TABLE titles AS SELECT e.emp_no, ['Staff', 'Engineer', 'Senior Engineer'][1 + pick(e.emp_no || n, 3)] AS title, e.hire_date + (n * 730)::INTEGER AS from_date, DATE '9999-01-01' AS to_date
    FROM employees e, range(2) r(n) WHERE n = 0 OR pick(e.emp_no, 2) = 0;
