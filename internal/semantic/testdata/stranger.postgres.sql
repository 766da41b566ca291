WITH b0 AS (SELECT COUNT(1) AS m0
  FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND ((1=0)))))) AS t3)
SELECT * FROM (SELECT COALESCE(m0, '0') AS c0 FROM b0) AS o
LIMIT 101
-- []interface {}(nil)

SELECT to_char(CAST(MAX(f."placed_at") AS timestamptz), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND ((1=0)))))) AS f WHERE f."placed_at" <= now()
-- []interface {}(nil)

