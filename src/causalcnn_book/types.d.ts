// What an explorer is made of, for the type checker: nothing of this reaches a reader.

/** A figure's traits, as anywidget or figure-host.js keeps them. Python gives them, so their types are not known. */
export interface Model {
  get(key: string): any;
  set(key: string, value: unknown): void;
  save_changes(): void;
  on(event: string, listener: () => void): void;
  off(event: string, listener: () => void): void;
}

/** A number that the figure reads off: in words, and as a number for tests. */
export interface Readout {
  /** What Python calls it; several of one kind are called `kind-which`. */
  key: string;
  label: string;
  value: number | string;
  text: string;
  /** In small print beside it, often the same in another unit. */
  note?: string;
  /** It tells of the future: shown in the colour of alarm. */
  leak?: boolean;
}

/** What a figure shows of one state. */
export interface View {
  /** The inside of an SVG. */
  picture: string;
  /** Of the picture, in pixels. */
  height: number;
  sentence: string;
  readouts: Readout[];
}

/** New values of some traits. */
export type Changes<S> = Partial<S>;

/** What a control has to do with: the state that is drawn, and how to change it. */
export interface Figure<S extends object> {
  model: Model;
  state(): S;
  keep(changes: Changes<S>): void;
  /** Call `sync` now and after every change. */
  follow(sync: () => void): void;
}

/** Something below the stage that a reader moves: `slider`, `toggle`, `choice`, `clock` and `player` make them. */
export interface Control<S extends object> {
  /** Its name among the controls that Python asks for. */
  key: string;
  build(figure: Figure<S>): HTMLElement;
  /** Whether it has a meaning in this state; without it, always. */
  shown?(s: S): boolean;
}

/** An explorer, as its module declares it; `S` is its state. Positions and widths are in pixels of the picture. */
export interface Declaration<S extends object> {
  /** The names of the traits that are the state. */
  traits: (keyof S & string)[];
  /** A state inside its limits, whatever an address or a notebook asks for. It may change the one that it is given. */
  settled(s: S, width?: number): S;
  /** The numbers of a state, which tests compare with torch and causalcnn. */
  read(s: S): unknown;
  /** The inside of an SVG; ids begin with `id`. */
  picture(s: S, width: number, id: string): string;
  height: number | ((s: S, width: number) => number);
  sentence(s: S): string;
  readouts(s: S): Readout[];
  /** In the order of their places. */
  controls(model: Model): Control<S>[];
  /** The stage is a slider too: the first place, the present one, the last one. */
  range(s: S, width: number): [number, number, number];
  /** What arrow keys, Home, End and page keys move through the range: a trait, or the changes that lead to a place. */
  move?: (keyof S & string) | ((place: number, s: S) => Changes<S>);
  /** What other keys change, or those keys in another way; `far`: together with the shift key. */
  press?(s: S, width: number, far: boolean): Record<string, Changes<S>>;
  /** What a click or a drag at (x, y) changes; nothing where there is nothing to choose. */
  at?(s: S, x: number, y: number, width: number): Changes<S> | undefined;
  /** What a drag changes at its start, where that is something else; nothing: there is nothing to drag. */
  grab?(s: S, x: number, y: number, width: number): Changes<S> | undefined;
  /** Whether a mouse that only points shows what a click would choose. */
  hover?: boolean;
  /** Drawn over the live picture, unseen: where a finger drags and the page does not scroll. */
  handles?(s: S, width: number): string;
  /** What is said of the present place; without it, the sentence. */
  spoken?(s: S): string;
  /** What changes with a trait. */
  after?: { [key in keyof S]?: (s: S) => Changes<S> };
}

/** What a module exports: for anywidget `render`, for Python and the tests the rest. Each settles what it is given. */
export interface Explorer<S extends object> {
  traits: string[];
  settled(s: S, width?: number): S;
  read(s: S): unknown;
  view(s: S, width: number, id: string): View;
  render(page: { model: Model; el: HTMLElement }): () => void;
}
