package postgres

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

const documentSQL = `SELECT project_id, kind, id, version, created_at, updated_at, coalesce(expires_at, 0), tag, data FROM documents`

const documentByID = documentSQL + ` WHERE project_id = $1 AND kind = $2 AND id = $3`

func storableKey(k document.Key) bool {
	return storable(string(k.Project)) && storable(string(k.Kind)) && storable(k.ID)
}

// CreateDocument implements document.Store.
func (s *Store) CreateDocument(ctx context.Context, d document.Document, key, digest string) (document.Document, error) {
	if err := d.Check(key); err != nil {
		return document.Document{}, err
	}
	if !storableKey(d.Key) || !storable(d.Tag) {
		return document.Document{}, stead.Invalid("id", "the id of the %s is not text", d.Kind)
	}
	var err error
	for range maxTries {
		var stored document.Document
		err = s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
			stored, err = createDocument(ctx, tx, d, []byte(key), []byte(digest))
			return err
		})
		if err == nil {
			return stored, nil
		}
		if !retryable(sqlState(err)) { // else another transaction came between: look again
			return document.Document{}, err
		}
	}
	return document.Document{}, err
}

func createDocument(ctx context.Context, tx pgx.Tx, d document.Document, key, digest []byte) (document.Document, error) {
	if len(key) > 0 {
		var id string
		var had []byte
		err := tx.QueryRow(ctx, `SELECT id, digest FROM document_keys WHERE project_id = $1 AND kind = $2 AND key = $3`,
			string(d.Project), string(d.Kind), key).Scan(&id, &had)
		switch {
		case err == nil && !bytes.Equal(had, digest):
			return d, document.KeyUsed()
		case err == nil:
			d.ID = id
			return queryDocument(ctx, tx, d.Key, "")
		case !errors.Is(err, pgx.ErrNoRows):
			return d, err
		}
	}
	if _, err := queryDocument(ctx, tx, d.Key, ""); err == nil {
		return d, d.Taken()
	} else if stead.KindOf(err) != stead.KindNotFound {
		return d, err
	}
	d.Version = 1
	queue := &pgx.Batch{}
	queue.Queue(`INSERT INTO documents (project_id, kind, id, version, created_at, updated_at, expires_at, tag, data)
		VALUES ($1, $2, $3, $4, $5, $6, nullif($7::bigint, 0), $8, $9)`,
		string(d.Project), string(d.Kind), d.ID, d.Version, d.CreatedAt, d.UpdatedAt, d.ExpiresAt, d.Tag, d.Data)
	if len(key) > 0 {
		queue.Queue(`INSERT INTO document_keys (project_id, kind, key, digest, id) VALUES ($1, $2, $3, $4, $5)`,
			string(d.Project), string(d.Kind), key, digest, d.ID)
	}
	return d, tx.SendBatch(ctx, queue).Close()
}

// queryDocument reads one document; suffix locks it.
func queryDocument(ctx context.Context, q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, k document.Key, suffix string) (document.Document, error) {
	rows, err := q.Query(ctx, documentByID+suffix, string(k.Project), string(k.Kind), k.ID)
	if err != nil {
		return document.Document{}, err
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDocument)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, k.NotFound()
	}
	return d, err
}

func scanDocument(row pgx.CollectableRow) (document.Document, error) {
	var d document.Document
	err := row.Scan(&d.Project, &d.Kind, &d.ID, &d.Version, &d.CreatedAt, &d.UpdatedAt, &d.ExpiresAt, &d.Tag, &d.Data)
	return d, err
}

// GetDocument implements document.Store.
func (s *Store) GetDocument(ctx context.Context, k document.Key) (document.Document, error) {
	if !storableKey(k) {
		return document.Document{}, k.NotFound()
	}
	var d document.Document
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		d, err = queryDocument(ctx, c, k, "")
		return err
	})
	return d, err
}

// UpdateDocument implements document.Store.
func (s *Store) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	if err := d.Check(""); err != nil {
		return document.Document{}, err
	}
	if !storableKey(d.Key) {
		return document.Document{}, d.NotFound()
	}
	if !storable(d.Tag) {
		return document.Document{}, stead.Invalid("tag", "the tag of the %s is not text", d.Kind)
	}
	err := s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		old, err := queryDocument(ctx, tx, d.Key, ` FOR UPDATE`)
		if err != nil {
			return err
		}
		if d.Version != old.Version+1 {
			return d.Stale(old.Version, d.Version-1)
		}
		d.CreatedAt = old.CreatedAt
		_, err = tx.Exec(ctx, `UPDATE documents SET version = $4, updated_at = $5, expires_at = nullif($6::bigint, 0), tag = $7, data = $8
			WHERE project_id = $1 AND kind = $2 AND id = $3`,
			string(d.Project), string(d.Kind), d.ID, d.Version, d.UpdatedAt, d.ExpiresAt, d.Tag, d.Data)
		return err
	})
	if err != nil {
		return document.Document{}, err
	}
	return d, nil
}

// DeleteDocument implements document.Store.
func (s *Store) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	if !storableKey(k) {
		return k.NotFound()
	}
	return s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		d, err := queryDocument(ctx, tx, k, ` FOR UPDATE`)
		if err != nil {
			return err
		}
		if version != 0 && version != d.Version {
			return k.Stale(d.Version, version)
		}
		queue := &pgx.Batch{}
		for _, table := range []string{"documents", "document_keys"} {
			queue.Queue(`DELETE FROM `+table+` WHERE project_id = $1 AND kind = $2 AND id = $3`, string(k.Project), string(k.Kind), k.ID)
		}
		return tx.SendBatch(ctx, queue).Close()
	})
}

// ListDocuments implements document.Store.
func (s *Store) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	if !storable(string(q.Project)) || !storable(string(q.Kind)) || !storable(q.After) || !storable(q.Tag) {
		return nil, nil
	}
	where := ` WHERE project_id = $1 AND kind = $2 AND ($5::bigint = 0 OR expires_at IS NULL OR expires_at > $5)`
	if q.Tag != "" {
		where += ` AND tag = $6`
	} else {
		where += ` AND $6 = ''`
	}
	switch {
	case q.Desc && q.After != "":
		where += ` AND id < $3 ORDER BY id DESC`
	case q.Desc:
		where += ` AND $3 = '' ORDER BY id DESC`
	default:
		where += ` AND id > $3 ORDER BY id`
	}
	return s.documents(ctx, documentSQL+where+` LIMIT $4`,
		string(q.Project), string(q.Kind), q.After, document.PageLimit(q.Limit), q.Now, q.Tag)
}

// ExpiredDocuments implements document.Store.
func (s *Store) ExpiredDocuments(ctx context.Context, kind document.Kind, now int64, limit int) ([]document.Document, error) {
	if !storable(string(kind)) {
		return nil, nil
	}
	return s.documents(ctx, documentSQL+` WHERE kind = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3`, string(kind), now, limit)
}

// projectsOf walks the index from project to project: it reads a row of each, however many documents they have.
const projectsOf = `WITH RECURSIVE one (project_id) AS (
		SELECT min(project_id) FROM documents
		UNION ALL SELECT (SELECT min(d.project_id) FROM documents d WHERE d.project_id > one.project_id) FROM one WHERE one.project_id IS NOT NULL)
	SELECT project_id FROM one WHERE project_id IS NOT NULL AND EXISTS (SELECT 1 FROM documents d WHERE d.project_id = one.project_id AND d.kind = $1) ORDER BY project_id`

// DocumentProjects implements document.Store.
func (s *Store) DocumentProjects(ctx context.Context, kind document.Kind) ([]stead.ProjectID, error) {
	if !storable(string(kind)) {
		return nil, nil
	}
	var all []stead.ProjectID
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, projectsOf, string(kind))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[stead.ProjectID])
		return err
	})
	return all, err
}

func (s *Store) documents(ctx context.Context, text string, args ...any) ([]document.Document, error) {
	var all []document.Document
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanDocument)
		return err
	})
	return all, err
}

// Documents are a database's, to be read alone.
type Documents struct{ store Store }

// ReadDocuments opens a database's documents beside servers that run, or without one. It changes nothing: a database of another version
// may not have them.
func ReadDocuments(ctx context.Context, url string) (*Documents, func(), error) {
	config, err := poolConfig(url, Options{})
	if err != nil {
		return nil, nil, err
	}
	pool, err := openPool(ctx, config, 1)
	if err != nil {
		return nil, nil, err
	}
	d := &Documents{}
	d.store.pool = pool
	return d, pool.Close, nil
}

// ListDocuments is that of document.Store.
func (d *Documents) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	return d.store.ListDocuments(ctx, q)
}

// DocumentProjects is that of document.Store.
func (d *Documents) DocumentProjects(ctx context.Context, kind document.Kind) ([]stead.ProjectID, error) {
	return d.store.DocumentProjects(ctx, kind)
}
