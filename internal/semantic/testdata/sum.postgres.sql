WITH b0 AS (SELECT CAST(t4."country" AS text) AS d0, to_char(date_trunc('week', CAST(t2."placed_at" AS timestamptz)), 'YYYY-MM-DD') AS d1, SUM(CASE WHEN (t2."status" IS NULL OR t2."status" <> $1) THEN t2."amount" END) AS m0
  FROM "orders" AS t2
  LEFT JOIN "customers" AS t4 ON t2."customer_id" = t4."id"
  WHERE t2."placed_at" >= CAST(CAST($2 AS text) AS timestamptz) AND t2."placed_at" < CAST(CAST($3 AS text) AS timestamptz)
  GROUP BY 1, 2)
SELECT * FROM (SELECT d0 AS c0, d1 AS c1, m0 AS c2 FROM b0) AS o
ORDER BY (c0 IS NULL), c0 COLLATE "C" ASC, (c1 IS NULL), c1 COLLATE "C" ASC
LIMIT 101
-- []interface {}{"cancelled", "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"}

SELECT to_char(CAST(MAX(f."placed_at") AS timestamptz), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM "orders" AS f WHERE f."placed_at" <= now()
-- []interface {}(nil)

