// What the panels share with the fetcher, which is no part of React's tree.
import { useSyncExternalStore } from "react";

/** Holds a value; `useValue` draws a component anew when it changes. */
function held(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      listeners.forEach((listener) => listener());
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export const useValue = (store) => useSyncExternalStore(store.subscribe, store.get);

/** What the last query cost, or null before the first. */
export const lastAnswer = held(null);

/** Whether the SQL statements of queries are asked for. */
export const shownSql = held(false);

/** Who the browser is signed in as: a user, null for nobody, undefined as long as it is not known. */
export const viewer = held(undefined);
