package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

const documentColumns = `project, kind, id, version, created_at, updated_at, ifnull(expires_at, 0), tag, data`

const documentByID = `SELECT ` + documentColumns + ` FROM document WHERE project = ? AND kind = ? AND id = ?`

// CreateDocument implements document.Store.
func (s *Store) CreateDocument(ctx context.Context, d document.Document, key, digest string) (document.Document, error) {
	if err := d.Check(key); err != nil {
		return document.Document{}, err
	}
	stored := d
	err := s.do(ctx, &op{bytes: len(d.Data), write: func(g *group) (err error) {
		stored, err = g.createDocument(d, key, digest)
		return err
	}})
	if err != nil {
		return document.Document{}, err
	}
	return stored, nil
}

func (g *group) createDocument(d document.Document, key, digest string) (document.Document, error) {
	ctx := context.Background()
	if key != "" {
		var id, had string
		err := g.c.conn.QueryRowContext(ctx, `SELECT id, digest FROM document_key WHERE project = ? AND kind = ? AND key = ?`,
			string(d.Project), string(d.Kind), []byte(key)).Scan(&id, &had)
		switch {
		case err == nil && had != digest:
			return d, document.KeyUsed()
		case err == nil:
			d.ID = id
			return g.document(ctx, d.Key)
		case !errors.Is(err, sql.ErrNoRows):
			return d, failed(err, "read idempotency key")
		}
	}
	if _, err := g.document(ctx, d.Key); err == nil {
		return d, d.Taken()
	} else if _, broken := err.(*dbError); broken {
		return d, err
	}
	d.Version = 1
	if err := g.execText(ctx, "store "+string(d.Kind), `INSERT INTO document
		(project, kind, id, version, created_at, updated_at, expires_at, tag, data) VALUES (?, ?, ?, ?, ?, ?, nullif(?, 0), ?, ?)`,
		string(d.Project), string(d.Kind), d.ID, d.Version, d.CreatedAt, d.UpdatedAt, d.ExpiresAt, d.Tag, string(d.Data)); err != nil {
		return d, err
	}
	if key == "" {
		return d, nil
	}
	return d, g.execText(ctx, "store idempotency key", `INSERT INTO document_key (project, kind, key, digest, id) VALUES (?, ?, ?, ?, ?)`,
		string(d.Project), string(d.Kind), []byte(key), digest, d.ID)
}

// document reads one in the transaction.
func (g *group) document(ctx context.Context, k document.Key) (document.Document, error) {
	d, err := scanDocument(g.c.conn.QueryRowContext(ctx, documentByID, string(k.Project), string(k.Kind), k.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return d, k.NotFound()
	}
	if err != nil {
		return d, failed(err, "read "+string(k.Kind))
	}
	return d, nil
}

func scanDocument(row interface{ Scan(...any) error }) (document.Document, error) {
	var d document.Document
	err := row.Scan(&d.Project, &d.Kind, &d.ID, &d.Version, &d.CreatedAt, &d.UpdatedAt, &d.ExpiresAt, &d.Tag, &d.Data)
	return d, err
}

// GetDocument implements document.Store.
func (s *Store) GetDocument(ctx context.Context, k document.Key) (document.Document, error) {
	d, err := scanDocument(s.readers.QueryRowContext(ctx, documentByID, string(k.Project), string(k.Kind), k.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return document.Document{}, k.NotFound()
	}
	return d, translate(err, "read "+string(k.Kind))
}

// UpdateDocument implements document.Store.
func (s *Store) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	if err := d.Check(""); err != nil {
		return document.Document{}, err
	}
	err := s.do(ctx, &op{bytes: len(d.Data), write: func(g *group) error {
		ctx := context.Background()
		old, err := g.document(ctx, d.Key)
		if err != nil {
			return err
		}
		if d.Version != old.Version+1 {
			return d.Stale(old.Version, d.Version-1)
		}
		d.CreatedAt = old.CreatedAt
		return g.execText(ctx, "update "+string(d.Kind), `UPDATE document SET version = ?, updated_at = ?, expires_at = nullif(?, 0), tag = ?, data = ?
			WHERE project = ? AND kind = ? AND id = ?`,
			d.Version, d.UpdatedAt, d.ExpiresAt, d.Tag, string(d.Data), string(d.Project), string(d.Kind), d.ID)
	}})
	if err != nil {
		return document.Document{}, err
	}
	return d, nil
}

// DeleteDocument implements document.Store.
func (s *Store) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	return s.do(ctx, &op{write: func(g *group) error {
		ctx := context.Background()
		d, err := g.document(ctx, k)
		if err != nil {
			return err
		}
		if version != 0 && version != d.Version {
			return k.Stale(d.Version, version)
		}
		for _, table := range []string{"document", "document_key"} {
			if err := g.execText(ctx, "delete "+string(k.Kind), `DELETE FROM `+table+` WHERE project = ? AND kind = ? AND id = ?`,
				string(k.Project), string(k.Kind), k.ID); err != nil {
				return err
			}
		}
		return nil
	}})
}

// ListDocuments implements document.Store.
func (s *Store) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	text := `SELECT ` + documentColumns + ` FROM document WHERE project = ?1 AND kind = ?2
		AND (?5 = 0 OR expires_at IS NULL OR expires_at > ?5)`
	if q.Tag != "" {
		text += ` AND tag = ?6`
	} else {
		text += ` AND ?6 = ''`
	}
	switch {
	case q.Desc && q.After != "":
		text += ` AND id < ?3 ORDER BY id DESC`
	case q.Desc:
		text += ` AND ?3 = '' ORDER BY id DESC`
	default:
		text += ` AND id > ?3 ORDER BY id`
	}
	return s.documents(ctx, "list "+string(q.Kind), text+` LIMIT ?4`,
		string(q.Project), string(q.Kind), q.After, document.PageLimit(q.Limit), q.Now, q.Tag)
}

// ExpiredDocuments implements document.Store.
func (s *Store) ExpiredDocuments(ctx context.Context, kind document.Kind, now int64, limit int) ([]document.Document, error) {
	return s.documents(ctx, "list expired "+string(kind), `SELECT `+documentColumns+` FROM document
		WHERE kind = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?`, string(kind), now, limit)
}

// projectsOf walks the index from project to project: it reads a row of each, however many documents they have.
const projectsOf = `WITH RECURSIVE one (project) AS (
		SELECT min(project) FROM document
		UNION ALL SELECT (SELECT min(project) FROM document WHERE project > one.project) FROM one WHERE one.project IS NOT NULL)
	SELECT project FROM one WHERE project IS NOT NULL AND EXISTS (SELECT 1 FROM document d WHERE d.project = one.project AND d.kind = ?) ORDER BY project`

// DocumentProjects implements document.Store.
func (s *Store) DocumentProjects(ctx context.Context, kind document.Kind) ([]stead.ProjectID, error) {
	what := "list projects with documents of the kind " + string(kind)
	rows, err := s.readers.QueryContext(ctx, projectsOf, string(kind))
	if err != nil {
		return nil, translate(err, what)
	}
	defer rows.Close()
	var out []stead.ProjectID
	for rows.Next() {
		var p stead.ProjectID
		if err := rows.Scan(&p); err != nil {
			return nil, translate(err, what)
		}
		out = append(out, p)
	}
	return out, translate(rows.Err(), what)
}

func (s *Store) documents(ctx context.Context, what, text string, args ...any) ([]document.Document, error) {
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, translate(err, what)
	}
	defer rows.Close()
	var out []document.Document
	for rows.Next() {
		d, err := scanDocument(rows)
		if err != nil {
			return nil, translate(err, what)
		}
		out = append(out, d)
	}
	return out, translate(rows.Err(), what)
}

// Documents are a database's, to be read alone.
type Documents struct{ store Store }

// ReadDocuments opens a database's documents beside a server that runs, or without one. It changes nothing: a database of another version
// may not have them.
func ReadDocuments(path string) (*Documents, func(), error) {
	readers, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=query_only(ON)")
	if err != nil {
		return nil, nil, stead.Wrap(stead.KindInternal, err, "open database %s", path)
	}
	d := &Documents{}
	d.store.readers = readers
	return d, func() { _ = readers.Close() }, nil // nothing was written
}

// ListDocuments is that of document.Store.
func (d *Documents) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	return d.store.ListDocuments(ctx, q)
}

// DocumentProjects is that of document.Store.
func (d *Documents) DocumentProjects(ctx context.Context, kind document.Kind) ([]stead.ProjectID, error) {
	return d.store.DocumentProjects(ctx, kind)
}
