-- Columns of small integers that mean nothing to each other: all of them are contained in all row numbers.
-- key: machines(id)
-- key: sensors(id)
-- key: readings(id)
-- key: alarms(id)
-- key: levels(level)
-- link: sensors(machine_id) -> machines(id)
-- link: readings(sensor_id) -> sensors(id)
-- link: alarms(machine) -> machines(id)
-- link: alarms(level) -> levels(level)
-- also: readings(level) -> levels(level)
-- time: readings(at)
-- time: alarms(raised_at)
CREATE TABLE machines AS SELECT i AS id, 'M' || i AS serial, 1 + pick(i, 40) AS hall, pick(i || 'f', 12) AS floor, pick(i || 'v', 9) AS version FROM range(1, 151) r(i);
CREATE TABLE sensors AS SELECT i AS id, 1 + pick(i, 150) AS machine_id, pick(i || 'c', 16) AS channel, pick(i || 'p', 300) AS position FROM range(1, 601) r(i);
CREATE TABLE readings AS SELECT i AS id, 1 + pick(i, 600) AS sensor_id, TIMESTAMP '2023-01-01' + INTERVAL (i) MINUTE AS at, pick(i || 't', 120) AS temperature, 1 + pick(i || 'l', 5) AS level,
    i % 500 AS sequence, pick(i || 'e', 2) AS error FROM range(1, 12001) r(i);
CREATE TABLE levels AS SELECT i AS level, ['debug', 'info', 'warning', 'error', 'fatal'][i] AS meaning FROM range(1, 6) r(i);
CREATE TABLE alarms AS SELECT i AS id, 1 + pick(i, 150) AS machine, 1 + pick(i || 'l', 5) AS level, TIMESTAMP '2023-01-01' + INTERVAL (i * 13) MINUTE AS raised_at, pick(i || 'c', 60) AS code,
    pick(i || 'n', 90) AS count FROM range(1, 901) r(i);
