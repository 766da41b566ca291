package guest

import (
	"bufio"
	"fmt"
	"os"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/layer"
)

// layerMain does one operation of package layer over the root that it finds itself in.
func layerMain(op LayerOp) int {
	if err := overRoot(op); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func overRoot(op LayerOp) error {
	root, err := os.OpenRoot("/")
	if err != nil {
		return err
	}
	defer root.Close()
	in, out := bufio.NewReaderSize(os.Stdin, MaxDataBytes), bufio.NewWriterSize(os.Stdout, MaxDataBytes)
	switch op {
	case LayerRecord:
		err = layer.Record(root, out)
	case LayerPack:
		// A mount that knows no owners, of a virtual machine, has nothing to give; what the server then
		// can't read it says itself.
		_ = layer.GiveBack(environment.WorkspaceDir)
		err = layer.Pack(root, in, out)
	case LayerApply:
		err = layer.Apply(root, in)
	default:
		err = fmt.Errorf("there is no operation %.20q for layers", op)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}
