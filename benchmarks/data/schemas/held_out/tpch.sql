-- Every column has its table's prefix; lines point at a key of two columns.
-- key: region(r_regionkey)
-- key: nation(n_nationkey)
-- key: supplier(s_suppkey)
-- key: customer(c_custkey)
-- key: part(p_partkey)
-- key: partsupp(ps_partkey, ps_suppkey)
-- key: orders(o_orderkey)
-- key: lineitem(l_orderkey, l_linenumber)
-- link: nation(n_regionkey) -> region(r_regionkey)
-- link: supplier(s_nationkey) -> nation(n_nationkey)
-- link: customer(c_nationkey) -> nation(n_nationkey)
-- link: partsupp(ps_partkey) -> part(p_partkey)
-- link: partsupp(ps_suppkey) -> supplier(s_suppkey)
-- link: orders(o_custkey) -> customer(c_custkey)
-- link: lineitem(l_orderkey) -> orders(o_orderkey)
-- link: lineitem(l_partkey, l_suppkey) -> partsupp(ps_partkey, ps_suppkey)
-- also: lineitem(l_partkey) -> part(p_partkey)
-- also: lineitem(l_suppkey) -> supplier(s_suppkey)
-- time: orders(o_orderdate)
-- time: lineitem(orders.o_orderdate) or lineitem(l_shipdate)
CREATE TABLE region AS SELECT i AS r_regionkey, 'REGION ' || i AS r_name FROM range(5) r(i);
CREATE TABLE nation AS SELECT i AS n_nationkey, 'NATION ' || i AS n_name, i % 5 AS n_regionkey FROM range(25) r(i);
CREATE TABLE supplier AS SELECT i AS s_suppkey, 'Supplier#' || i AS s_name, pick(i, 25) AS s_nationkey, pick(i, 9000) / 7 AS s_acctbal FROM range(1, 101) r(i);
CREATE TABLE customer AS SELECT i AS c_custkey, 'Customer#' || i AS c_name, pick(i, 25) AS c_nationkey, ['BUILDING', 'MACHINERY'][1 + pick(i, 2)] AS c_mktsegment FROM range(1, 751) r(i);
CREATE TABLE part AS SELECT i AS p_partkey, 'part ' || i AS p_name, 1 + pick(i, 50) AS p_size, 900 + pick(i, 900) / 7 AS p_retailprice FROM range(1, 1001) r(i);
CREATE TABLE partsupp AS SELECT p AS ps_partkey, 1 + (p * 7 + s * 25) % 100 AS ps_suppkey, pick(p || s, 9999) AS ps_availqty, pick(p || 'c' || s, 999) / 7 AS ps_supplycost FROM range(1, 1001) a(p), range(4) b(s);
CREATE TABLE orders AS SELECT 4 * i - pick(i, 3) AS o_orderkey, 1 + pick(i, 750) AS o_custkey, ['O', 'F', 'P'][1 + pick(i || 's', 3)] AS o_orderstatus, pick(i, 99999) / 7 AS o_totalprice,
    DATE '1992-01-01' + pick(i || 'd', 2400) AS o_orderdate, 0 AS o_shippriority FROM range(1, 3001) r(i);
CREATE TABLE lineitem AS SELECT o.o_orderkey AS l_orderkey, 1 + pick(o.o_orderkey || 'p' || n, 1000) AS l_partkey, 1 + ((1 + pick(o.o_orderkey || 'p' || n, 1000)) * 7 + pick(o.o_orderkey || n, 4) * 25) % 100 AS l_suppkey,
    n AS l_linenumber, 1 + pick(o.o_orderkey || 'q' || n, 50) AS l_quantity, o.o_orderdate + (1 + pick(n || o.o_orderkey, 120)) AS l_shipdate, o.o_orderdate + (30 + pick(o.o_orderkey || n, 60)) AS l_commitdate,
    o.o_orderdate + (3 + pick(n || o.o_orderkey, 120) + pick(n, 30)) AS l_receiptdate FROM orders o, range(1, 4) r(n);
