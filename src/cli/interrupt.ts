// ^C during long work: a signal that loops look at between two portions, so that what is known can still be printed.

export class Interrupt {
  readonly #controller = new AbortController();
  readonly #listener = (): void => {
    // the second ^C does not wait
    if (this.signal.aborted) process.exit(130);
    this.#controller.abort();
  };

  /** From here on ^C sets the signal; `release` gives it back its usual effect. */
  constructor() {
    process.on("SIGINT", this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Lets pending signals in; true once ^C was pressed. */
  async pressed(): Promise<boolean> {
    await new Promise((resolve) => setImmediate(resolve));
    return this.signal.aborted;
  }

  release(): void {
    process.off("SIGINT", this.#listener);
  }
}
